//! The dashboard: a page and its files, put into the binary. Knows nothing of what they show; they use the API like
//! any other client.

use std::{fmt::Write, path::Path};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use serde::Deserialize;

use super::{
    answer::{EndpointResult, HttpProblem},
    problems::NotFound,
    rest::Name,
    state::AppState,
};

/// Whether browsers get the dashboard.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum DashboardMode {
    /// It is there and offers changes.
    #[default]
    On,
    /// It is there and offers none. What a caller may change is decided by `security`, not by this.
    Read,
    /// It is not there.
    Off,
}

impl DashboardMode {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Read => "read",
            Self::Off => "off",
        }
    }
}

/// The page; its word for the mode is replaced.
const PAGE: &str = "index.html";
const MODE: &str = "data-mode=\"on\"";

/// Scripts and styles of this server alone, no text as markup, in no frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

macro_rules! files {
    ($($name:literal)*) => {
        &[$(($name, include_bytes!(concat!("dashboard/", $name)))),*]
    };
}

/// Every file by name.
const FILES: &[(&str, &[u8])] = files! {
    "index.html" "app.css" "mark.svg"
    "view.js" "app.js" "api.js" "stream.js" "store.js" "parts.js" "charts.js" "list.js" "dialogs.js" "words.js"
    "login.js" "services.js" "service.js" "instance.js" "register.js" "events.js" "watchers.js" "migration.js"
    "broker.js" "queue.js" "gateway.js" "system.js"
};

/// A file as it is answered.
#[derive(Clone, Debug)]
struct DashboardFile {
    name: &'static str,
    body: Bytes,
    etag: HeaderValue,
}

/// The files of the dashboard; none when it is switched off.
#[derive(Clone, Debug)]
pub(super) struct DashboardFiles {
    mode: DashboardMode,
    files: Vec<DashboardFile>,
    /// They are read from here instead, at each request.
    folder: Option<Box<Path>>,
}

impl DashboardFiles {
    pub(super) fn new(mode: DashboardMode, folder: Option<&Path>) -> Self {
        let files = FILES.iter().filter(|_| mode != DashboardMode::Off);
        Self {
            mode,
            files: files
                .map(|(name, body)| file_of(mode, name, Bytes::from_static(body)))
                .collect(),
            folder: folder.map(Into::into),
        }
    }

    fn find(&self, name: &str) -> Option<DashboardFile> {
        let known = self.files.iter().find(|file| file.name == name)?;
        let Some(folder) = &self.folder else {
            return Some(known.clone());
        };
        // Only debug builds have a folder, so that a change of a file needs no build.
        let read = std::fs::read(folder.join(known.name)).ok()?;
        Some(file_of(self.mode, known.name, read.into()))
    }
}

fn file_of(mode: DashboardMode, name: &'static str, body: Bytes) -> DashboardFile {
    let body = match name {
        PAGE => {
            let page = String::from_utf8_lossy(&body);
            let own = format!("data-mode=\"{}\"", mode.as_str());
            page.replacen(MODE, &own, 1).into()
        }
        _ => body,
    };
    DashboardFile {
        name,
        etag: etag(&body),
        body,
    }
}

/// FNV-1a, 64 bits: it tells versions of a file apart, and is no protection.
fn etag(body: &[u8]) -> HeaderValue {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut tag = String::with_capacity(18);
    // Writing to a string can't fail.
    let _ = write!(tag, "\"{hash:016x}\"");
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"-\""))
}

/// The dashboard, for clients that accept HTML.
#[utoipa::path(
    get, path = "/",
    responses(
        (status = 200, content_type = "text/html", body = String),
        NotFound,
    )
)]
pub(in crate::http) async fn page(
    State(shared): State<AppState>,
    headers: HeaderMap,
) -> EndpointResult {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let accepts_html = accepted.filter_map(|value| value.to_str().ok());
    let accepts_html = accepts_html.flat_map(|value| value.split(','));
    let accepts_html = accepts_html
        .map(|part| part.split(';').next().unwrap_or_default().trim())
        .any(|kind| kind.eq_ignore_ascii_case("text/html"));
    let Some(found) = shared.dashboard.find(PAGE).filter(|_| accepts_html) else {
        let detail = "no resource is at /; /openapi.json describes the API, and a browser gets the dashboard here \
                      unless http.dashboard is off";
        return Err(HttpProblem::new(404, detail));
    };
    let mut response = answer(&found, &headers);
    let vary = HeaderValue::from_static("accept");
    response.headers_mut().append(header::VARY, vary);
    Ok(response)
}

/// A file of the dashboard.
#[utoipa::path(
    get, path = "/ui/{file}",
    params(("file" = String, Path)),
    responses(
        (status = 200, description = "A script, a style sheet or an image"),
        (status = 304, description = "The client has it"),
        NotFound,
    )
)]
pub(in crate::http) async fn file(
    State(shared): State<AppState>,
    name: Name,
    headers: HeaderMap,
) -> EndpointResult {
    let found = shared.dashboard.find(name.as_str());
    let found = found.filter(|found| found.name != PAGE);
    let unknown = || HttpProblem::new(404, "the dashboard has no such file");
    Ok(answer(&found.ok_or_else(unknown)?, &headers))
}

fn answer(file: &DashboardFile, request: &HeaderMap) -> Response {
    let known = request.get_all(header::IF_NONE_MATCH).iter();
    let known = known.filter_map(|value| value.to_str().ok());
    // A proxy that compresses may have made the tag a weak one.
    let is_known = known
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag.as_bytes() == file.etag.as_bytes());
    let mut response = match is_known {
        true => Response::new(Body::empty()),
        false => Response::new(Body::from(file.body.clone())),
    };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind_of(file.name));
    headers.insert(header::ETAG, file.etag.clone());
    let set = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
    ];
    for (name, value) in set {
        headers.insert(name, value);
    }
    response
}

fn kind_of(name: &str) -> HeaderValue {
    HeaderValue::from_static(match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    })
}

#[cfg(test)]
mod tests;
