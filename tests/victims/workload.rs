// SPDX-License-Identifier: MIT
// The Rust row of tests/e2e/programs.py: collections, strings, buffered output, a status of 9.
use std::collections::HashMap;
use std::io::Write;

fn main() {
    let scale: u64 = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(100);
    let mut log = std::io::BufWriter::new(std::fs::File::create("log.txt").expect("log.txt"));
    let mut seen: HashMap<u64, Vec<u8>> = HashMap::new();
    let (mut state, mut hash) = (1u64, 0u64);
    for round in 0..scale {
        for _ in 0..4000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let entry = seen.entry(state >> 54).or_default();
            entry.resize((state >> 20) as usize % 9000, (state >> 30) as u8);
            let sum: u64 = entry.iter().step_by(97).map(|&byte| byte as u64).sum();
            hash = hash.wrapping_mul(31).wrapping_add(sum);
        }
        println!("{} {:016x} {}", round, hash, "x".repeat((hash % 17) as usize));
        if round % 10 == 0 {
            writeln!(log, "{} {}", round, state).expect("log.txt");
        }
    }
    log.flush().expect("log.txt");
    std::process::exit(9);
}
