mid_v35_SRCS := mid_v35.c classes.c cold.c
mid_v35_TESTS := tests/test_mid_v35.c
