//! Trust lists of any bytes: nothing may panic, nothing may count that no root key signed, and there is one encoding of
//! what can be read.
#![cfg_attr(fuzzing, no_main)]

use zlayer_bundle::{SecretKey, TRUST_LIST_MAGIC, TrustFile, seal_trust_list};
use zlayer_fuzz::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let root = SecretKey::from_seed([7; 32]);
    // As it stands.
    if let Ok(file) = TrustFile::read(data) {
        assert!(file.before_next().len() <= data.len());
        assert!(file.verify(&[root.public()]).is_err());
    }

    // As the content of a list, so that what stands before it is no obstacle.
    let mut bytes = TRUST_LIST_MAGIC.to_vec();
    bytes.extend(b"\x01\0\0\0");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    let Ok(file) = TrustFile::read(&bytes) else {
        return;
    };
    let list = file.last().list.clone();
    assert!(file.verify(&[root.public()]).is_err());
    assert_eq!(seal_trust_list(&list, None).as_ref(), Ok(&bytes));
    // Signed, it counts, and follows itself.
    let signed = seal_trust_list(&list, Some(&root)).unwrap_or_default();
    let file = TrustFile::read(&signed).map(|file| (file.clone(), file.verify(&[root.public()])));
    match file {
        Ok((file, Ok(verified))) => {
            assert_eq!(verified.list(), &list);
            assert_eq!(verified.bytes(), signed);
            assert!(verified.follow(file).is_ok_and(|same| same == verified));
        }
        other => panic!("{other:?}"),
    }
});
