//! How a node proves that it is the one that was met before.
//!
//! At their first meeting two nodes agree on a secret of 128 bits; ever after each answers the other's challenge
//! with HMAC-SHA-256 (RFC 2104, FIPS 180-4) under that secret of
//!
//! ```text
//!  "resolute proof 1", role of the prover (1), challenge (16), prover (16), verifier (16)
//! ```
//!
//! The challenge keeps an old proof from being used again, the role keeps one's own proof from being sent back, and
//! the two names keep a proof from being passed on to a third node. It proves identity and protects no bytes: who
//! sits on the path, or listened at the first meeting, is stopped by TLS only.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::ids::NodeId;

/// Which side of the connection proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// The side that dialled.
    Dialler = 1,
    /// The side that accepted.
    Acceptor = 2,
}

/// The proof by which `prover` answers the challenge of `verifier`.
#[must_use]
pub fn prove(
    secret: &[u8; 16],
    challenge: &[u8; 16],
    prover: NodeId,
    verifier: NodeId,
    role: Role,
) -> [u8; 32] {
    keyed(secret, challenge, prover, verifier, role).finalize().into_bytes().into()
}

/// Whether `mac` is that proof. Takes as long whether it is or not.
#[must_use]
pub fn verify(
    mac: &[u8; 32],
    secret: &[u8; 16],
    challenge: &[u8; 16],
    prover: NodeId,
    verifier: NodeId,
    role: Role,
) -> bool {
    keyed(secret, challenge, prover, verifier, role).verify_slice(mac).is_ok()
}

fn keyed(
    secret: &[u8; 16],
    challenge: &[u8; 16],
    prover: NodeId,
    verifier: NodeId,
    role: Role,
) -> Hmac<Sha256> {
    // A key shorter than the hash's block is filled up with zeros: RFC 2104, section 2.
    let mut block = [0; 64];
    block[..secret.len()].copy_from_slice(secret);
    let mut mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new(&block.into());
    mac.update(b"resolute proof 1");
    mac.update(&[role as u8]);
    mac.update(challenge);
    mac.update(&prover.0.to_le_bytes());
    mac.update(&verifier.0.to_le_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 16] = *b"0123456789abcdef";
    const CHALLENGE: [u8; 16] = [0xc4; 16];

    #[test]
    fn the_bytes_of_a_proof_are_pinned() {
        let mac = prove(&SECRET, &CHALLENGE, NodeId(1), NodeId(2), Role::Dialler);
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "bdb2818d00014884dd20d3ee8dcd9794f3efb23123b1d6f8abb05eaab6a62764");
    }

    #[test]
    fn a_proof_is_believed_only_for_what_it_was_made_for() {
        let (a, b) = (NodeId(1), NodeId(2));
        let mac = prove(&SECRET, &CHALLENGE, a, b, Role::Dialler);
        assert!(verify(&mac, &SECRET, &CHALLENGE, a, b, Role::Dialler));
        assert!(!verify(&mac, &[0; 16], &CHALLENGE, a, b, Role::Dialler), "another secret");
        assert!(!verify(&mac, &SECRET, &[0; 16], a, b, Role::Dialler), "an old proof");
        assert!(!verify(&mac, &SECRET, &CHALLENGE, b, a, Role::Dialler), "the names exchanged");
        assert!(!verify(&mac, &SECRET, &CHALLENGE, a, NodeId(3), Role::Dialler), "passed on");
        assert!(!verify(&mac, &SECRET, &CHALLENGE, a, b, Role::Acceptor), "sent back");
    }

    #[test]
    fn every_single_bit_flip_is_refused() {
        let good = prove(&SECRET, &CHALLENGE, NodeId(1), NodeId(2), Role::Acceptor);
        for bit in 0..256 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&bad, &SECRET, &CHALLENGE, NodeId(1), NodeId(2), Role::Acceptor), "bit {bit}");
        }
    }
}
