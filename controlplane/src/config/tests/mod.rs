//! Worst input first; then each rule with the place and the words of its problem; then the examples.

mod examples;
