/* SPDX-License-Identifier: Apache-2.0 */
/* mesh/manager/news - hosts that have gone: told to an agent when what they sent has arrived */
#include "mesh/manager/news.h"

#include <stdlib.h>
#include <string.h>

#include "mesh/message.h"
#include "util/clock.h"
#include "util/list.h"

#define LOOK_MS 10

void news_clear(struct news *news)
{
	loop_timer_cancel(news->loop, &news->timer);
	free(news->gone);
	news->gone = NULL;
	news->count = 0;
}

static void look(struct news *news, bool is_now)
{
	if (!is_now && !wire_has_room(news->wire) && loop_now_ns(news->loop) < news->end_ns) {
		loop_timer_set(news->loop, &news->timer, LOOK_MS);
		return;
	}
	for (size_t at = 0; at < news->count; at += MESSAGE_GONE_MAX) {
		size_t left = news->count - at;

		news->tell(
			news, &news->gone[at], left < MESSAGE_GONE_MAX ? left : MESSAGE_GONE_MAX);
	}
	news_clear(news);
}

static void on_look(struct loop_timer *timer)
{
	look(container_of(timer, struct news, timer), false);
}

void news_add(struct news *news, const struct in_addr *gone, size_t count, bool is_now)
{
	struct in_addr *all =
		count > 0 ? realloc(news->gone, (news->count + count) * sizeof(*all)) : NULL;

	if (all) {
		memcpy(all + news->count, gone, count * sizeof(*all));
		if (news->count == 0)
			news->end_ns = loop_now_ns(news->loop) + NEWS_MS * NS_PER_MS;
		news->gone = all;
		news->count += count;
	}
	news->timer.on_expired = on_look;
	if (news->count > 0)
		look(news, is_now);
}
