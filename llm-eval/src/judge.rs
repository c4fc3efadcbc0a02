//! Judgments: the files they are kept in, and the figures computed from them.

pub mod files;
pub mod replay;
