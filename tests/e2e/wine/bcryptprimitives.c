/* Rust's standard library takes random numbers from bcryptprimitives.dll, which Wine has from version 10 on. For tests
   only: this passes the question on to the generator that older ones have. */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) {
  enum { PIECE = 4096 };
  for (SIZE_T done = 0; done < length; done += PIECE) {
    SIZE_T left = length - done;
    if (!RtlGenRandom(buffer + done, (ULONG)(left < PIECE ? left : PIECE))) return FALSE;
  }
  return TRUE;
}
