//! Stands in for the types of the contract, which the engine generates.

pub(crate) mod common {
    /// A field as plugins see it.
    #[derive(Debug)]
    pub(crate) struct KeyValue {
        pub(crate) key: String,
        pub(crate) value: String,
    }
}
