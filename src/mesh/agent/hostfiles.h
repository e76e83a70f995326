/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/agent/hostfiles - the names of a mesh in the files of a plain host */
#pragma once

#include <pthread.h>
#include <sys/stat.h>

#include "mesh/agent/statedir.h"
#include "mesh/config.h"
#include "util/loop.h"

/*
 * How it works
 *
 * The files of the state directory (mesh/agent/statedir) unless it is disabled, and a block in
 * /etc/hosts if the manifest asks for it (mesh/agent/inplace). /etc/hosts is looked at every
 * HOSTFILES_LOOK_MS: who has replaced it, or edited the block away, gets it back. Its first block
 * of any agent makes a backup. What does not work is a line, once, and nothing else suffers.
 *
 * It is done a moment after it was asked for: who has asked waits for an answer, is likely to ask
 * for a bit more at once (mesh/manager/session), and fifty agents of one user take turns at one
 * file.
 *
 * A thread does it, one at a time, as a home directory may be on a server that is gone, and who may
 * read a file may keep it locked: packets do not wait for either. What is below "the thread's" is
 * its alone while there is one.
 *
 * Lines go at the end; those of an agent that was killed when the next one of any mesh starts.
 */
#define HOSTFILES_LOOK_MS  5000
#define HOSTFILES_DELAY_MS 250
#define HOSTFILES_JOIN_MS  20 /* how often it is asked whether a thread is done */

/* Starts as all zero, but for the loop. */
struct hostfiles {
	struct loop *loop;

	/* its own */
	struct loop_timer timer;   /* to look at /etc/hosts */
	struct mesh_config wanted; /* soon */
	struct loop_timer due, join;
	bool is_working; /* there is a thread */
	pthread_t thread;

	/* the thread's */
	struct mesh_config job; /* what to be; or else only look */
	bool is_look, is_end;
	bool has_begun;
	struct marked_author self;
	struct statedir dir;
	bool is_in_etc;
	char *lines;      /* in /etc/hosts */
	struct stat seen; /* of /etc/hosts */
	struct err dir_told, etc_told;
};

/* Be as @config says from now on. */
void hostfiles_configure(struct hostfiles *files, const struct mesh_config *config);

/*
 * The end: all goes, when the thread is done. One that is not so in time still has *@files, and
 * what is in the files stays; the process is to end then. Once more is fine.
 */
void hostfiles_end(struct hostfiles *files);
