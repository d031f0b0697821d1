//! Numbers that nobody can guess, drawn from a seed that came from outside: the same seed gives the same ones.

use sha2::{Digest, Sha256};

/// A source of random numbers.
#[derive(Clone, Debug)]
pub struct Entropy {
    seed: [u8; 32],
    drawn: u64,
}

impl Entropy {
    /// A source that starts from `seed`.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Entropy {
        Entropy { seed, drawn: 0 }
    }

    /// Sixteen bytes: a secret or a challenge.
    pub fn key(&mut self) -> [u8; 16] {
        self.drawn += 1;
        let digest = Sha256::new().chain_update(self.seed).chain_update(self.drawn.to_le_bytes()).finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        key
    }

    /// A number from 0 up to, but not with, 1.
    pub fn fraction(&mut self) -> f64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.key()[..8]);
        (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_no_number_twice() {
        let (mut a, mut b) = (Entropy::new([7; 32]), Entropy::new([7; 32]));
        let drawn: std::collections::BTreeSet<_> = (0..100).map(|_| a.key()).collect();
        assert_eq!(drawn.len(), 100);
        assert_eq!(b.key(), Entropy::new([7; 32]).key());
        assert!((0.0..1.0).contains(&a.fraction()));
    }
}
