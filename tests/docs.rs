//! `docs/apis.md` is written from the table that dispatches; this fails when it is stale.

use std::fmt::Write;

use ottla::api::table::APIS;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/apis.md");

const HEAD: &str = "\
# APIs

What ottla answers, as its ApiVersions response says. This page is written from the table that dispatches requests
(`src/api/table.rs`): after a change there, run `UPDATE_DOCS=1 cargo test --test docs`.

An API that is not listed is not served: a request for it closes the connection, as does a version outside the range,
except that ApiVersions itself answers an unknown version with UNSUPPORTED_VERSION and this list (KIP-511). What each
version adds, and what is deliberately not done, stands at the head of each handler in `src/api/`.

| key | API | versions |
|---:|---|---|
";

fn page() -> String {
    APIS.iter().fold(HEAD.to_string(), |mut page, api| {
        let listed =
            if api.listed_min == api.min { String::new() } else { format!(" (listed from {})", api.listed_min) };
        writeln!(page, "| {} | {:?} | {}–{}{listed} |", api.key as i16, api.key, api.min, api.max).unwrap();
        page
    })
}

#[test]
fn the_page_of_apis_is_what_the_table_says() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, page()).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap();
    assert!(written == page(), "docs/apis.md is stale: run UPDATE_DOCS=1 cargo test --test docs");
}

#[test]
fn the_table_is_in_the_order_of_the_keys() {
    assert!(APIS.is_sorted_by_key(|api| api.key as i16));
}
