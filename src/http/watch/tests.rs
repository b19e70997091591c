mod leaving;
mod recent;
pub(super) mod socket;
mod stream;
mod wait;
