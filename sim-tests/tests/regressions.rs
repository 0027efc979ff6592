//! Every schedule that once failed, replayed twice under all oracles.

use std::path::{Path, PathBuf};

use quorate_sim_tests::failure::replay;

fn schedules(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder of regressions can be read");
    let paths = entries.map(|entry| entry.expect("and so can its entries").path());
    let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let mut found: Vec<_> = folders.iter().flat_map(|folder| schedules(folder)).collect();
    let is_schedule = |path: &PathBuf| path.extension().is_some_and(|it| it == "schedule");
    found.extend(files.into_iter().filter(is_schedule));
    found.sort();
    found
}

#[test]
fn what_once_failed_does_not_fail_again() {
    let found = schedules(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/regressions")));
    assert!(!found.is_empty(), "there are regressions");
    for path in found {
        println!("{}", path.display());
        replay(&std::fs::read_to_string(&path).expect("a schedule can be read"));
    }
}
