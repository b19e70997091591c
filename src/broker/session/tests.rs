mod confirms;
mod deaths;
mod delivery;
mod exceptions;
mod fixture;
mod order;
mod stamps;
mod topology;
