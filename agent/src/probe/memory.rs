//! Memory of the probe's arrays, mapped into this process: read and written without system calls,
//! while the programs go on writing it.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd},
    ptr::NonNull,
};

use aya::{
    Ebpf, Pod,
    maps::{Map, MapData},
};

use super::{ProbeError, map};

/// An array's values.
pub(super) struct Memory<T> {
    base: NonNull<T>,
    length: usize,
    values: PhantomData<T>,
}

#[expect(unsafe_code, reason = "memory shared with the kernel")]
// SAFETY: the memory is nobody's in particular; whoever uses `at` answers for how.
unsafe impl<T> Send for Memory<T> {}
#[expect(unsafe_code, reason = "memory shared with the kernel")]
// SAFETY: as above.
unsafe impl<T> Sync for Memory<T> {}

impl<T> Memory<T> {
    /// Maps an array of so many values, which was created with `BPF_F_MMAPABLE`.
    pub(super) fn of(
        ebpf: &mut Ebpf,
        name: &'static str,
        length: usize,
    ) -> Result<Self, ProbeError> {
        let Map::Array(array) = map(ebpf, name)? else {
            return Err(ProbeError::Missing(name));
        };
        Self::map(&array, length).map_err(ProbeError::Share)
    }

    fn map(array: &MapData, length: usize) -> io::Result<Self> {
        #[expect(unsafe_code, reason = "mmap")]
        // SAFETY: a fresh mapping at an address of the kernel's choice, whose memory lives as long
        // as the mapping, whatever becomes of the descriptor. The kernel refuses one that is
        // longer than the array.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length * size_of::<T>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                array.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            base,
            length,
            values: PhantomData,
        })
    }

    /// How many values there are.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Where a value is, for as long as `self` lives; beyond the last one the indices begin anew.
    pub(super) fn at(&self, index: usize) -> NonNull<T> {
        #[expect(unsafe_code, reason = "memory shared with the kernel")]
        // SAFETY: within the mapping.
        unsafe {
            self.base.add(index % self.length)
        }
    }
}

impl<T: Pod> Memory<T> {
    /// A value as it is now. Its members are whole, but may be of two moments.
    pub(super) fn read(&self, index: usize) -> T {
        #[expect(unsafe_code, reason = "memory shared with the kernel")]
        // SAFETY: within the mapping and aligned (it begins at a page), and any bits are a value.
        // Volatile: the programs write it at any time.
        unsafe {
            self.at(index).read_volatile()
        }
    }

    /// Puts a value there.
    pub(super) fn write(&self, index: usize, value: T) {
        #[expect(unsafe_code, reason = "memory shared with the kernel")]
        // SAFETY: as for `read`.
        unsafe {
            self.at(index).write_volatile(value);
        }
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "munmap")]
        // SAFETY: the mapping made in `map`; no pointer into it is used any more.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), self.length * size_of::<T>());
        }
    }
}
