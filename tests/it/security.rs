//! Who gets in, what each may do and what is said of it, of the daemon as a user has it.

mod access;
mod broker_users;
mod home;
