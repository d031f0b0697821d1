//! The fuzzer's bytes as choices. Where they are used up every choice is the first one.

/// What is left of the bytes.
pub struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8]) -> Source<'a> {
        Source(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// Small ones and those at the edges come from one byte, all others from nine.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=199 => u64::from(small),
            edge @ 200..=219 => u64::MAX - u64::from(edge - 200),
            edge @ 220..=239 => (1 << 62) + 10 - u64::from(edge - 220),
            _ => {
                let mut number = [0; 8];
                let taken = self.take(8);
                number[..taken.len()].copy_from_slice(taken);
                u64::from_le_bytes(number)
            }
        }
    }

    /// At most `most` bytes.
    pub fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// As many bytes as the next one says.
    pub fn some(&mut self) -> &'a [u8] {
        let most = usize::from(self.byte());
        self.take(most)
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}
