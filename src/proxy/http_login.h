/* SPDX-License-Identifier: Apache-2.0 */
/* proxy/http_login - who a request says its client is */
#pragma once

#include <stdbool.h>

#include "proxy/access.h"
#include "proxy/http_head.h"

/* Is nobody asked, or does @head say the right user and password (Proxy-Authorization: Basic)? */
bool http_login_is_known(const struct http_head *head, const struct access *access);
