"""What functions need besides their code: built in a sandbox when the registry asks."""
