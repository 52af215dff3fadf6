//! Heads of bundles and their manifests of any bytes: nothing may panic, no length may ask for memory that the
//! input does not have, and nothing may count as signed.
#![cfg_attr(fuzzing, no_main)]

use zlayer_bundle::{Blob, BundleHead, copy_blob, seal_bundle};
use zlayer_fuzz::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // As it stands.
    if let Ok(head) = BundleHead::read(&mut &*data) {
        assert!(!head.signature.is_valid());
        assert!(head.bytes().len() <= data.len());
    }

    // As a manifest, so that what stands before it is no obstacle.
    let mut file = b"ZLBUNDL\n\x01\0\0\0".to_vec();
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    if let Ok(head) = BundleHead::read(&mut file.as_slice()) {
        // What can be read can be written again and reads as the same.
        let again = seal_bundle(&head.manifest, None);
        let again = again.and_then(|bytes| BundleHead::read(&mut bytes.as_slice()));
        assert_eq!(again.ok().map(|again| again.manifest), Some(head.manifest));
    }

    // As a blob: it is copied whole, and nothing else is taken for it.
    let blob = Blob::of(data);
    let mut copy = Vec::new();
    assert!(copy_blob(&blob, &mut &*data, &mut copy).is_ok() && copy == data);
    if let Some((_, rest)) = data.split_first() {
        assert!(copy_blob(&blob, &mut &*rest, &mut Vec::new()).is_err());
    }
});
