//! The picture of a run in a real browser: Chromium, without a window.

use std::path::{Path, PathBuf};
use std::process::Command;

use quorate_io_sim::world::{Plan, Shape};
use quorate_sim_tests::failure::{Failure, Found, check};
use quorate_sim_tests::scenario::Members;
use quorate_sim_tests::timeline::draw;

/// The browser, by any of its names.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let all = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.into_iter().find(|program| program.is_file())
}

/// What the page has become once its script has run.
fn visit(browser: &Path, folder: &Path, page: &Path, more: &[&str]) -> String {
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1500,950", &profile])
        .args(["--virtual-time-budget=3000", "--dump-dom"])
        .args(more)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the browser starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What stands behind `start` up to `end`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no {start} in the page"));
    rest.split_once(end).map_or(rest, |(what, _)| what)
}

#[test]
fn the_picture_of_a_run_opens_in_a_browser() {
    let Some(browser) = browser() else {
        println!("SKIPPED: no Chromium here (Debian: apt-get install chromium)");
        return;
    };
    let plan = Plan::draw(3, Shape { seconds: 2, lease_ttl: 3, watchers: 5, ..Shape::R3 });
    let (report, _) = check::<Members>(&plan, true, usize::MAX);
    let text = "Correctness, linear: <b>wrong</b> </script> & more".to_string();
    let failure = Failure { seed: 3, found: Found::Wrong, oracle: "linear", text };
    let html = draw(&plan, &report.recording.lines, report.ended_at, Some(&failure));
    let folder = std::env::temp_dir().join(format!("quorate-timeline-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the page");
    let page = folder.join("seed_3.html");
    std::fs::write(&page, html).expect("the page is written");

    let seen = visit(&browser, &folder, &page, &[]);
    assert_eq!(between(&seen, "<h1 id=\"title\">", "<"), "seed 3");
    let objection = between(&seen, "<span id=\"objection\">", "</span>");
    assert_eq!(
        objection,
        "Correctness, linear: &lt;b&gt;wrong&lt;/b&gt; &lt;/script&gt; &amp; more"
    );
    let drawn: usize = between(&seen, "data-drawn=\"", "\"").parse().expect("a number of things");
    assert!(drawn > 200, "only {drawn} things were drawn");
    let lines = report.recording.lines.len();
    let found = format!("{lines} of {lines} lines, 500 shown");
    assert_eq!(between(&seen, "<span id=\"found\">", "<"), found);
    assert!(between(&seen, "<div id=\"lines\">", "<script>").matches("<div").count() >= 500);
    let _ = std::fs::remove_dir_all(&folder);
}
