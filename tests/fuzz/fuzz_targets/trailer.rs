//! Footers, signature blocks and manifests of any bytes: nothing may panic, no length may ask
//! for memory that the input does not have, and nothing may count as signed.
#![cfg_attr(fuzzing, no_main)]

use zlayer_bundle::{Manifest, Profile, Target, Trailer, seal};
use zlayer_fuzz::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // As it stands.
    if let Ok(trailer) = Trailer::from_bytes(data) {
        assert!(!trailer.signature.is_valid());
        assert!(trailer.manifest.artifact_len < data.len() as u64);
    }

    // As a manifest behind an empty artifact, so that the footer is no obstacle.
    let mut file = data.to_vec();
    file.extend(0_u64.to_le_bytes());
    file.extend((data.len() as u32).to_le_bytes());
    file.extend([0, 0, 1, 0]);
    file.extend(b"ZLCWASM\n");
    if let Ok(trailer) = Trailer::from_bytes(&file) {
        // What can be read can be written again and reads as the same.
        let again = seal(Vec::new(), trailer.manifest.clone(), None).and_then(|bytes| {
            let mut read = Trailer::from_bytes(&bytes)?;
            read.manifest.digest = trailer.manifest.digest;
            Ok(read)
        });
        assert_eq!(again.ok(), Some(trailer));
    }

    // As code: whatever it is, the trailer behind it is found.
    let manifest = Manifest::new("fuzz", "1", Target::Armv7, Profile::Compact);
    let sealed = seal(data.to_vec(), manifest, None).ok();
    assert!(sealed.is_some_and(|bytes| Trailer::from_bytes(&bytes).is_ok()));
});
