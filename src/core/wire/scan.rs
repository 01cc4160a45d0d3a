//! Walks over MessagePack without building anything: where a value ends, and whether it is
//! nested too deeply. Lengths are checked against the bytes that are there, so a value that
//! announces gigabytes costs nothing.
//!
//! The clients' protocol is decoded with these few readers by hand: a wrong request must be
//! answered with the field and the limit it breaks, and keys and values must stay slices of the
//! message they came in. Both are awkward with a derived decoder. Every reader is total: any bytes
//! at all give a value or a [`ScanError`], in time linear in the bytes.

use std::fmt;

/// Why bytes are no MessagePack value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanError {
    /// The bytes end before the value does.
    Truncated,
    /// Arrays and maps are nested more deeply than allowed.
    TooDeep,
    /// The byte 0xc1, which MessagePack never uses.
    Reserved,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ScanError::Truncated => "the MessagePack value is cut short",
            ScanError::TooDeep => "the MessagePack value is nested too deeply",
            ScanError::Reserved => "the byte 0xc1 is not MessagePack",
        })
    }
}

impl std::error::Error for ScanError {}

/// The length in bytes of the first value of `bytes`.
///
/// `max_depth` is how many arrays and maps may lie inside one another: 0 allows only scalars. The
/// recursion is no deeper than that.
///
/// # Errors
/// When the value is cut short, too deep, or no MessagePack.
pub fn value_len(bytes: &[u8], max_depth: usize) -> Result<usize, ScanError> {
    let mut reader = Reader::new(bytes);
    reader.skip(max_depth)?;
    Ok(bytes.len() - reader.rest().len())
}

/// A scalar whole, or the head of an array or map whose elements follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// Nothing.
    Nil,
    /// A truth.
    Bool(bool),
    /// An integer from 0, however it was encoded.
    Uint(u64),
    /// An integer below 0.
    Negative(i64),
    /// A float of either width; the protocol has none, so its value is not kept.
    Float,
    /// A string's bytes, not checked to be UTF-8.
    Str(&'a [u8]),
    /// Bytes.
    Bin(&'a [u8]),
    /// An extension's bytes, without its type.
    Ext(&'a [u8]),
    /// So many elements follow.
    Array(usize),
    /// So many pairs follow.
    Map(usize),
}

impl<'a> Token<'a> {
    /// What it is, with its article, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Token::Nil => "nil",
            Token::Bool(_) => "a boolean",
            Token::Uint(_) => "an unsigned integer",
            Token::Negative(_) => "a negative integer",
            Token::Float => "a float",
            Token::Str(_) => "a string",
            Token::Bin(_) => "bytes",
            Token::Ext(_) => "an extension",
            Token::Array(_) => "an array",
            Token::Map(_) => "a map",
        }
    }

    /// The bytes of a `bin` or a `str`.
    #[must_use]
    pub fn bytes(self) -> Option<&'a [u8]> {
        if let Token::Bin(bytes) | Token::Str(bytes) = self { Some(bytes) } else { None }
    }

    /// The text of a `str` or a `bin`, where it is UTF-8.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The number, where it is not negative.
    #[must_use]
    pub fn uint(self) -> Option<u64> {
        if let Token::Uint(number) = self { Some(number) } else { None }
    }

    /// The number, where it fits in 64 signed bits.
    #[must_use]
    pub fn int(self) -> Option<i64> {
        if let Token::Negative(number) = self {
            return Some(number);
        }
        self.uint().and_then(|number| i64::try_from(number).ok())
    }
}

/// Reads values one after another.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next scalar, or the head of the next array or map.
    ///
    /// # Errors
    /// When the bytes end, or are no MessagePack.
    pub fn token(&mut self) -> Result<Token<'a>, ScanError> {
        let tag = self.byte()?;
        Ok(match tag {
            0x00..=0x7f => Token::Uint(tag.into()),
            0x80..=0x8f => Token::Map(usize::from(tag & 0x0f)),
            0x90..=0x9f => Token::Array(usize::from(tag & 0x0f)),
            0xa0..=0xbf => Token::Str(self.take(usize::from(tag & 0x1f))?),
            0xc0 => Token::Nil,
            0xc1 => return Err(ScanError::Reserved),
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4 => Token::Bin(self.sized(1)?),
            0xc5 => Token::Bin(self.sized(2)?),
            0xc6 => Token::Bin(self.sized(4)?),
            0xc7 => Token::Ext(self.extension(1)?),
            0xc8 => Token::Ext(self.extension(2)?),
            0xc9 => Token::Ext(self.extension(4)?),
            0xca => self.take(4).map(|_| Token::Float)?,
            0xcb => self.take(8).map(|_| Token::Float)?,
            0xcc..=0xcf => Token::Uint(self.number(1 << (tag - 0xcc))?),
            0xd0..=0xd3 => self.signed(1 << (tag - 0xd0))?,
            0xd4..=0xd8 => {
                self.byte()?;
                Token::Ext(self.take(1 << (tag - 0xd4))?)
            }
            0xd9 => Token::Str(self.sized(1)?),
            0xda => Token::Str(self.sized(2)?),
            0xdb => Token::Str(self.sized(4)?),
            0xdc => Token::Array(self.length(2)?),
            0xdd => Token::Array(self.length(4)?),
            0xde => Token::Map(self.length(2)?),
            0xdf => Token::Map(self.length(4)?),
            0xe0..=0xff => Token::Negative(i64::from(tag.cast_signed())),
        })
    }

    /// Passes over the next value, in which at most `max_depth` arrays and maps lie inside one
    /// another.
    ///
    /// # Errors
    /// When the bytes end, are nested too deeply, or are no MessagePack.
    pub fn skip(&mut self, max_depth: usize) -> Result<(), ScanError> {
        let elements = if let token @ (Token::Array(count) | Token::Map(count)) = self.token()? {
            if matches!(token, Token::Map(_)) { count.saturating_mul(2) } else { count }
        } else {
            return Ok(());
        };
        let depth = max_depth.checked_sub(1).ok_or(ScanError::TooDeep)?;
        // An element takes at least a byte: a length that lies is found out before the walk.
        if elements > self.rest.len() {
            return Err(ScanError::Truncated);
        }
        for _ in 0..elements {
            self.skip(depth)?;
        }
        Ok(())
    }

    /// The bytes of the next value, which is passed over.
    ///
    /// # Errors
    /// As [`Reader::skip`].
    pub fn raw(&mut self, max_depth: usize) -> Result<&'a [u8], ScanError> {
        self.take(value_len(self.rest, max_depth)?)
    }

    /// Passes over the `pairs` of a map whose head has been read, and gives the bytes of the
    /// values at `names`. Other keys are ignored; of a key that is there twice the last counts.
    ///
    /// # Errors
    /// As [`Reader::skip`].
    pub fn pick<const N: usize>(
        &mut self,
        pairs: usize,
        names: [&str; N],
        max_depth: usize,
    ) -> Result<[Option<&'a [u8]>; N], ScanError> {
        let mut found = [None; N];
        for _ in 0..pairs {
            let name = Reader::new(self.raw(max_depth)?).token()?.bytes();
            let value = self.raw(max_depth)?;
            let slot =
                names.iter().zip(&mut found).find(|(wanted, _)| name == Some(wanted.as_bytes()));
            if let Some((_, slot)) = slot {
                *slot = Some(value);
            }
        }
        Ok(found)
    }

    fn byte(&mut self) -> Result<u8, ScanError> {
        let (first, rest) = self.rest.split_first().ok_or(ScanError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ScanError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(ScanError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A big-endian number of `width` bytes, at most 8.
    fn number(&mut self, width: usize) -> Result<u64, ScanError> {
        Ok(self.take(width)?.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn signed(&mut self, width: usize) -> Result<Token<'a>, ScanError> {
        let shift = 64 - 8 * width;
        let number = (self.number(width)? << shift).cast_signed() >> shift;
        Ok(u64::try_from(number).map_or(Token::Negative(number), Token::Uint))
    }

    fn length(&mut self, width: usize) -> Result<usize, ScanError> {
        self.number(width).map(|len| usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn sized(&mut self, width: usize) -> Result<&'a [u8], ScanError> {
        let len = self.length(width)?;
        self.take(len)
    }

    fn extension(&mut self, width: usize) -> Result<&'a [u8], ScanError> {
        let len = self.length(width)?;
        self.byte()?;
        self.take(len)
    }
}
