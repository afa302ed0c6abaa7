/* Data only. */
int lonely = 1;
