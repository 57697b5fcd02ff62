"""What holds for any history."""
