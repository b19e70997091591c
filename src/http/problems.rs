//! Problems that many endpoints answer with, for their part of the OpenAPI document.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses,
    openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder},
};

/// A type for each problem: its status, and what the document says of it besides.
macro_rules! problems {
    ($($name:ident = $status:literal, $description:literal;)*) => {$(
        pub(in crate::http) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                problem($status, $description)
            }
        }
    )*};
}

problems! {
    NotFound = "404", "";
    Conflict = "409", "";
    TooLarge = "413", "The body is larger than `http.body_max`";
    Invalid = "422", "";
    TooMany = "429", "";
}

fn problem(status: &str, description: &str) -> BTreeMap<String, RefOr<Response>> {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content);
    BTreeMap::from([(status.to_owned(), response.build().into())])
}
