//! Cutting a structure out of the fuzzer's bytes. What is missing reads as zero, so that no input is wasted, and lengths
//! stand in front of what they measure, so that a mutation changes one thing.

#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub(crate) fn i8(&mut self) -> i8 {
        self.u8() as i8
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// As many bytes as there are of `length`.
    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes with their length (u16) in front.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = self.u16();
        self.take(length.into())
    }

    /// Bytes with their length (u16) in front, as an input of their own.
    pub(crate) fn part(&mut self) -> Input<'a> {
        Input(self.bytes())
    }

    /// An offset: small ones as they stand, and the edges of what fits.
    pub(crate) fn offset(&mut self) -> i64 {
        match self.u16() {
            0xffff => i64::MAX,
            edge @ 0xfff0.. => i64::MAX - i64::from(0xffff - edge) * 100,
            edge @ 0xff00..0xfff0 => i64::from(i32::MAX) + i64::from(edge) - 0xff80,
            edge @ 0xfe00..0xff00 => 0xfdff - i64::from(edge),
            offset => offset.into(),
        }
    }
}
