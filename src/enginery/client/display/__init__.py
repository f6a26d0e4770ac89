"""What people see while they work: output as it comes, bars, prompts, and how things are now."""
