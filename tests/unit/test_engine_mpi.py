"""What engines know of the MPI job that they are in."""

import pytest

from enginery.engine.mpi import rank


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, ""),
        ({"PMI_RANK": "1", "PMI_SIZE": "4"}, "MPI rank 1 of 4"),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}, "MPI rank 0 of 2"),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, ""),
        ({"PMI_RANK": "zero", "PMI_SIZE": "4"}, ""),
    ],
)
def test_the_rank_in_words(environment, words):
    assert rank(environment) == words
