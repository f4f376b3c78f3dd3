//! Who is asking: API keys, and tokens of an identity provider.

pub mod api_key;
pub mod tokens;
