/* A payload that stays until it is killed. */
#include "tiny.h"

int main(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv, (void)envp;
	for (;;)
		SYS(ppoll, 0, 0, 0, 0, 0);
}
