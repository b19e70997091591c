mod back;
mod fixture;
mod noise;
mod phases;
mod restart;
mod rules;
mod silence;
