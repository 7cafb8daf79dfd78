//! Every input of the corpus, and mutations of it from a fixed seed, through every target.

use std::fs;
use std::path::Path;

use fuzz::{Mutator, TARGETS};

#[test]
fn no_input_of_the_corpus_and_no_mutation_of_one_breaks_a_target() {
    for target in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target.name);
        let mut paths: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        let corpus: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        assert!(corpus.len() >= 4, "{} has a corpus", target.name);

        for input in &corpus {
            (target.run)(input);
        }
        let mut mutator = Mutator::new(SEED);
        for _ in 0..MUTATIONS {
            let (one, other) = (
                &corpus[mutator.below(corpus.len())],
                &corpus[mutator.below(corpus.len())],
            );
            let input = mutator.mutate(one, other);
            (target.run)(&input);
        }
    }
}

const SEED: u64 = 0x5eed;
const MUTATIONS: usize = 3_000;
