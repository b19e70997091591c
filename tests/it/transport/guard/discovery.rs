//! Discovery requests that are not answered.
