//! Encryption at rest: a random key per segment, wrapped by a key of the settings.

use std::fmt;
use std::io;
use std::sync::Arc;

use chacha20poly1305::{AeadInOut as _, KeyInit as _, XChaCha20Poly1305, XNonce};

use crate::format::frame::{BodyCipher, Place};
use crate::format::segment::{Codec, SegmentHeader};
use crate::fs::Fs;

const TAG: usize = 16;

/// Keys by name: the first encrypts new segments, all of them decrypt.
///
/// To change the key, put the new one first and keep the old one until the segments written with it are
/// gone. The keys do not print and are wiped from memory.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<([u8; 16], XChaCha20Poly1305)>,
}

impl KeyRing {
    /// A ring of one key. The name stands in the clear in each segment's header; it says which key is
    /// needed and nothing of the key.
    pub fn new(name: [u8; 16], key: &[u8; 32]) -> Self {
        Self {
            keys: vec![(name, XChaCha20Poly1305::new(key.into()))],
        }
    }

    /// Adds a key that is only for reading what was written with it.
    #[must_use]
    pub fn with_old(mut self, name: [u8; 16], key: &[u8; 32]) -> Self {
        self.keys.push((name, XChaCha20Poly1305::new(key.into())));
        self
    }

    /// The codec of a new segment, and its cipher.
    pub(crate) fn new_segment(
        &self,
        fs: &dyn Fs,
        journal: [u8; 16],
    ) -> io::Result<(Codec, Arc<dyn BodyCipher>)> {
        let (key_name, key) = &self.keys[0];
        let mut data_key = [0; 32];
        let mut nonce = [0; 24];
        fs.random(&mut data_key)?;
        fs.random(&mut nonce)?;
        let mut wrapped = [0; 48];
        let (sealed, tag) = wrapped.split_at_mut(32);
        sealed.copy_from_slice(&data_key);
        let made = key
            .encrypt_inout_detached(&XNonce::from(nonce), &journal, sealed.into())
            .expect("32 bytes are not too long to encrypt");
        tag.copy_from_slice(&made);
        let codec = Codec::Sealed {
            key_name: *key_name,
            nonce,
            wrapped,
        };
        Ok((codec, cipher(&data_key)))
    }

    /// The cipher of a segment that exists.
    fn open_segment(&self, header: &SegmentHeader) -> io::Result<Option<Arc<dyn BodyCipher>>> {
        let Codec::Sealed {
            key_name,
            nonce,
            wrapped,
        } = &header.codec
        else {
            return Ok(None);
        };
        let Some((_, key)) = self.keys.iter().find(|(name, _)| name == key_name) else {
            return Err(io::Error::other(format!(
                "the segment is encrypted with the key {}, which is not set",
                String::from_utf8_lossy(key_name).trim_end_matches('\0')
            )));
        };
        let mut data_key = [0; 32];
        data_key.copy_from_slice(&wrapped[..32]);
        let mut tag = [0; TAG];
        tag.copy_from_slice(&wrapped[32..]);
        key.decrypt_inout_detached(
            &XNonce::from(*nonce),
            &header.journal,
            data_key.as_mut_slice().into(),
            &tag.into(),
        )
        .map_err(|_| io::Error::other("the key does not open the segment"))?;
        Ok(Some(cipher(&data_key)))
    }
}

/// The cipher of a segment that exists; an error when its key is not known.
pub(crate) fn cipher_of(
    keys: Option<&KeyRing>,
    header: &SegmentHeader,
) -> io::Result<Option<Arc<dyn BodyCipher>>> {
    match (header.codec, keys) {
        (Codec::Clear, _) => Ok(None),
        (Codec::Sealed { .. }, Some(keys)) => keys.open_segment(header),
        (Codec::Sealed { .. }, None) => Err(io::Error::other(
            "the segment is encrypted and no key is set",
        )),
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.keys.iter().map(|(name, _)| name.escape_ascii());
        f.debug_list()
            .entries(names.map(|name| name.to_string()))
            .finish()
    }
}

pub(crate) fn cipher(key: &[u8; 32]) -> Arc<dyn BodyCipher> {
    Arc::new(Bodies(XChaCha20Poly1305::new(key.into())))
}

/// Encrypts the bodies of one segment.
struct Bodies(XChaCha20Poly1305);

impl fmt::Debug for Bodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bodies")
    }
}

/// No two records of a segment have the same place, and each segment has its own key.
fn nonce(place: Place) -> XNonce {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&place.salt.to_le_bytes());
    nonce[8..16].copy_from_slice(&place.position.to_le_bytes());
    nonce[16..].copy_from_slice(&place.offset.to_le_bytes());
    nonce.into()
}

impl BodyCipher for Bodies {
    fn overhead(&self) -> usize {
        TAG
    }

    fn seal(&self, place: Place, aad: &[u8], buffer: &mut Vec<u8>, body: usize) {
        let text = &mut buffer[body..];
        let tag = self
            .0
            .encrypt_inout_detached(&nonce(place), aad, text.into())
            .expect("records are not too long to encrypt");
        buffer.extend_from_slice(&tag);
    }

    fn open(&self, place: Place, aad: &[u8], body: &[u8]) -> Option<Vec<u8>> {
        let (text, tag) = body.split_last_chunk::<TAG>()?;
        let mut text = text.to_vec();
        self.0
            .decrypt_inout_detached(
                &nonce(place),
                aad,
                text.as_mut_slice().into(),
                &(*tag).into(),
            )
            .ok()?;
        Some(text)
    }
}
