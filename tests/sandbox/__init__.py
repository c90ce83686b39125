"""The offline service: its rules, its pictures, and each of its doors."""
