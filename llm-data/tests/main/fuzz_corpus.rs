//! What fuzzing found worth keeping, through the functions of its targets.

#[path = "../../../fuzz/src/lib.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a crate of its own, of which the targets are used here"
)]
mod targets;

#[test]
fn the_fuzz_corpus_breaks_no_promise() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let mut inputs = 0;
        for file in std::fs::read_dir(format!("{corpus}/{name}")).unwrap() {
            let path = file.unwrap().path();
            let input = std::fs::read(&path).unwrap();
            if std::panic::catch_unwind(|| target(&input)).is_err() {
                panic!("{}", path.display());
            }
            inputs += 1;
        }
        assert!(inputs > 0, "{name}");
    }
}
