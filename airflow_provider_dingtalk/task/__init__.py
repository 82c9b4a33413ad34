"""What happens inside one running task."""
