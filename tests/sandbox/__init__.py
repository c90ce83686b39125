"""The offline service: its rules, its images, and each of its doors."""
