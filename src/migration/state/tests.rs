mod back;
mod fixture;
mod noise;
mod phases;
mod rules;
mod silence;
