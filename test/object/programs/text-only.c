/* A program without a section of its own. */
int alone(void *context)
{
	return context ? 1 : 0;
}
