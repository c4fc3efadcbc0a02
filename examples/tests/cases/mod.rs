//! One kind of test a file.

#[cfg(unix)]
mod disk;
mod killed;
mod left;
mod others;
mod refused;
mod resumed;
mod shown;
#[cfg(unix)]
mod signals;
mod watched;
