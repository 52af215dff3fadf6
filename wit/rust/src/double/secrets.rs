//! `zlayer:plugin/secrets` of a test.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::denied;
use crate::types::common::Error;

#[derive(Debug, Default)]
pub(crate) struct Secrets {
    values: RefCell<BTreeMap<String, String>>,
    pub(super) denied: Cell<bool>,
}

impl Secrets {
    pub(super) fn insert(&self, name: &str, value: &str) {
        let mut values = self.values.borrow_mut();
        values.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn get(&self, name: &str) -> Result<Option<String>, Error> {
        match self.denied.get() {
            true => Err(denied()),
            false => Ok(self.values.borrow().get(name).cloned()),
        }
    }

    pub(crate) fn get_required(&self, name: &str) -> Result<String, Error> {
        self.get(name)?.ok_or_else(|| Error {
            code: "SECRET_MISSING".to_owned(),
            message: format!("there is no secret '{name}'"),
        })
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.get(name).is_ok_and(|value| value.is_some())
    }

    pub(crate) fn list_names(&self) -> Vec<String> {
        match self.denied.get() {
            true => Vec::new(),
            false => self.values.borrow().keys().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test should panic")]

    use crate::double::{Capability, Host};
    use crate::secrets;

    #[test]
    fn secrets_are_found_by_name() {
        let host = Host::new().secret("b", "2").secret("a", "1");
        assert_eq!(secrets::get("a").unwrap().as_deref(), Some("1"));
        assert_eq!(secrets::get("c").unwrap(), None);
        assert_eq!(secrets::get_required("b").unwrap(), "2");
        assert_eq!(
            secrets::get_required("c").unwrap_err().code,
            "SECRET_MISSING"
        );
        assert_eq!(secrets::list_names(), ["a", "b"]);
        let _host = host.deny(Capability::Secrets);
        assert_eq!(secrets::get("a").unwrap_err().code, "CAPABILITY_DENIED");
        assert!(!secrets::exists("a") && secrets::list_names().is_empty());
    }
}
