mod leaving;
mod recent;
mod socket;
mod stream;
mod wait;
