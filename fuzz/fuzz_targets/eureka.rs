//! Any body of a registration over Eureka: it is refused with its wrong fields, or gives a registration.
#![no_main]

use libfuzzer_sys::fuzz_target;
use musterd::{api::Defaults, http::EurekaDraft};

fuzz_target!(|body: &[u8]| {
    let read = EurekaDraft::read("APP", body);
    let registered = read.and_then(|draft| draft.registration("id", &Defaults::default()));
    match registered {
        Ok(registration) => assert_eq!(registration.service_name.as_str(), "app"),
        Err(problem) => {
            assert_eq!(problem.status, 400);
            assert!(!problem.errors.is_empty());
        }
    }
});
