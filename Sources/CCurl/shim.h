#ifndef DRP_CCURL_SHIM_H
#define DRP_CCURL_SHIM_H

#include <curl/curl.h>
#include <stddef.h>

/* curl's setopt and getinfo are variadic, which Swift cannot call: one wrapper for each type of argument. */

typedef size_t (*drp_curl_receiver)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode drp_curl_set_string(CURL *handle, CURLoption option, const char *value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode drp_curl_set_long(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode drp_curl_set_pointer(CURL *handle, CURLoption option, void *value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode drp_curl_set_list(CURL *handle, CURLoption option, struct curl_slist *value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode drp_curl_set_receiver(CURL *handle, CURLoption option, drp_curl_receiver value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode drp_curl_set_offset(CURL *handle, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(handle, option, value);
}

typedef int (*drp_curl_seeker)(void *context, curl_off_t offset, int origin);

static inline CURLcode drp_curl_set_seeker(CURL *handle, CURLoption option, drp_curl_seeker value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLMcode drp_curl_multi_set_long(CURLM *multi, CURLMoption option, long value) {
    return curl_multi_setopt(multi, option, value);
}

static inline CURLcode drp_curl_get_long(CURL *handle, CURLINFO info, long *value) {
    return curl_easy_getinfo(handle, info, value);
}

static inline CURLcode drp_curl_global_init(void) { return curl_global_init(CURL_GLOBAL_DEFAULT); }

#endif
