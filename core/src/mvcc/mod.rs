//! Keys and their history.

/// A view of keys and history.
#[derive(Clone)]
pub struct KvView {}
