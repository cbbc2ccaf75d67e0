#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nsctl::fuzz::run("seccomp", bytes));
