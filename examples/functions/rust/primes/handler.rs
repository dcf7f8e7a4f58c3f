//! GET /primes?below=50: the primes below a number.
//!
//! Compiled when it is deployed, in the background; calls run the program.

use serde_json::{json, Value};

const MOST: usize = 10_000_000;

pub fn handler(event: Value) -> Result<Value, Box<dyn std::error::Error>> {
    let below: usize = event["query"]["below"].as_str().unwrap_or("100").parse()?;
    if below > MOST {
        return Ok(json!({"status": 400, "body": {"error": format!("below is at most {MOST}")}}));
    }
    let primes = sieve(below);
    let last: Vec<_> = primes.iter().rev().take(5).rev().collect();
    Ok(json!({"below": below, "count": primes.len(), "last": last}))
}

fn sieve(below: usize) -> Vec<usize> {
    let mut composite = vec![false; below];
    let mut primes = Vec::new();
    for number in 2..below {
        if composite[number] {
            continue;
        }
        primes.push(number);
        for multiple in (number * number..below).step_by(number) {
            composite[multiple] = true;
        }
    }
    primes
}
