//! Writes MessagePack, each value in its shortest form: the counterpart of [`scan`](super::scan).

use bytes::{BufMut, BytesMut};

/// Writes nil.
pub fn nil(out: &mut BytesMut) {
    out.put_u8(0xc0);
}

/// Writes a truth.
pub fn boolean(out: &mut BytesMut, truth: bool) {
    out.put_u8(if truth { 0xc3 } else { 0xc2 });
}

/// Writes an unsigned integer.
pub fn uint(out: &mut BytesMut, number: u64) {
    if let Ok(byte) = u8::try_from(number) {
        if byte >= 0x80 {
            out.put_u8(0xcc);
        }
        out.put_u8(byte);
    } else if let Ok(number) = u16::try_from(number) {
        out.put_u8(0xcd);
        out.put_u16(number);
    } else if let Ok(number) = u32::try_from(number) {
        out.put_u8(0xce);
        out.put_u32(number);
    } else {
        out.put_u8(0xcf);
        out.put_u64(number);
    }
}

/// Writes a signed integer.
pub fn int(out: &mut BytesMut, number: i64) {
    if let Ok(number) = u64::try_from(number) {
        uint(out, number);
    } else if let Ok(byte) = i8::try_from(number) {
        if byte < -32 {
            out.put_u8(0xd0);
        }
        out.put_i8(byte);
    } else if let Ok(number) = i16::try_from(number) {
        out.put_u8(0xd1);
        out.put_i16(number);
    } else if let Ok(number) = i32::try_from(number) {
        out.put_u8(0xd2);
        out.put_i32(number);
    } else {
        out.put_u8(0xd3);
        out.put_i64(number);
    }
}

/// Writes a string.
///
/// # Panics
/// When it is 4 GiB long, which every limit is far below.
pub fn text(out: &mut BytesMut, text: &str) {
    let len = length(text.len());
    if let Ok(short) = u8::try_from(len) {
        if short < 32 {
            out.put_u8(0xa0 | short);
        } else {
            out.put_u8(0xd9);
            out.put_u8(short);
        }
    } else {
        long_length(out, 0xda, len);
    }
    out.put_slice(text.as_bytes());
}

/// Writes bytes as `bin`.
///
/// # Panics
/// As [`text`].
pub fn binary(out: &mut BytesMut, bytes: &[u8]) {
    let len = length(bytes.len());
    if let Ok(short) = u8::try_from(len) {
        out.put_u8(0xc4);
        out.put_u8(short);
    } else {
        long_length(out, 0xc5, len);
    }
    out.put_slice(bytes);
}

/// Writes the head of an array: `count` values must follow.
///
/// # Panics
/// As [`text`].
pub fn array(out: &mut BytesMut, count: usize) {
    container(out, 0x90, 0xdc, count);
}

/// Writes the head of a map: `pairs` keys and values must follow.
///
/// # Panics
/// As [`text`].
pub fn map(out: &mut BytesMut, pairs: usize) {
    container(out, 0x80, 0xde, pairs);
}

fn container(out: &mut BytesMut, short_tag: u8, long_tag: u8, count: usize) {
    let count = length(count);
    match u8::try_from(count) {
        Ok(short) if short < 16 => out.put_u8(short_tag | short),
        Ok(_) | Err(_) => long_length(out, long_tag, count),
    }
}

/// A tag and 16 bits of length, or the tag after it and 32 bits.
fn long_length(out: &mut BytesMut, tag: u8, len: u32) {
    if let Ok(len) = u16::try_from(len) {
        out.put_u8(tag);
        out.put_u16(len);
    } else {
        out.put_u8(tag + 1);
        out.put_u32(len);
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("limits keep every length below 4 GiB")
}
