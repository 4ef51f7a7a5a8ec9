//! The wire format of protobuf: fields of a number and a value, without a schema.
//!
//! Written by hand, for a handful of messages that only go out: a crate for it would build a
//! tree of each page first.

const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;

fn tag(out: &mut Vec<u8>, field: u32, wire: u32) {
    varint(out, (field << 3 | wire).into());
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field with a number.
pub(crate) fn uint(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, VARINT);
    varint(out, value);
}

/// A field with a number of either sign. Small numbers of either sign are short: 0, −1, 1, −2 are 0, 1, 2, 3.
pub(crate) fn sint(out: &mut Vec<u8>, field: u32, value: i64) {
    uint(out, field, (value << 1 ^ value >> 63) as u64);
}

/// A field with a floating-point number.
pub(crate) fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    tag(out, field, FIXED_64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A field with text or bytes.
pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    tag(out, field, LENGTH_DELIMITED);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A field with a message of its own fields.
pub(crate) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, LENGTH_DELIMITED);
    let begin = out.len();
    write(out);
    let length = out.len() - begin;
    put_before(out, begin, length as u64);
}

/// Puts a number before what was written since `begin`: lengths are known afterwards only.
pub(crate) fn put_before(out: &mut Vec<u8>, begin: usize, number: u64) {
    let end = out.len();
    varint(out, number);
    let digits = out.len() - end;
    if let Some(written) = out.get_mut(begin..) {
        written.rotate_right(digits);
    }
}
