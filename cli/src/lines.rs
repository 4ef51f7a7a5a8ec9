//! Lines out of a stream of bytes.

use std::collections::VecDeque;

/// Most bytes of one line: a job's result with the stacks of all its runs.
const MAX_LINE_BYTES: usize = 256 << 20;

/// A line is longer than anything that a controller sends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of more than {MAX_LINE_BYTES} bytes")]
pub(crate) struct TooLong;

/// Gathers bytes and gives whole lines, without their ends; empty lines are left out.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    whole: VecDeque<Vec<u8>>,
    begun: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes of the stream.
    pub(crate) fn push(&mut self, data: &[u8]) -> Result<(), TooLong> {
        let mut parts = data.split(|byte| *byte == b'\n');
        self.begun
            .extend_from_slice(parts.next().unwrap_or_default());
        for part in parts {
            self.whole
                .push_back(std::mem::replace(&mut self.begun, part.to_vec()));
        }
        if self.begun.len() > MAX_LINE_BYTES {
            Err(TooLong)
        } else {
            Ok(())
        }
    }

    /// The next whole line.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        std::iter::from_fn(|| self.whole.pop_front()).find(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_the_stream_is_cut() {
        let text = b"{\"a\":1}\n\n{\"b\":2}\nrest";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for part in text.chunks(size) {
                lines.push(part).unwrap();
                seen.extend(std::iter::from_fn(|| lines.next()));
            }
            assert_eq!(
                seen,
                [b"{\"a\":1}".to_vec(), b"{\"b\":2}".to_vec()],
                "chunks of {size}"
            );
        }
    }
}
